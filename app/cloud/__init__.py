"""AWS as adapters: queues, topics, the bucket, parameters and secrets. Shells use them; nothing else of ``app`` imports boto3.

On a machine that names no site (``cloud.site``) nothing in here is imported.
"""
