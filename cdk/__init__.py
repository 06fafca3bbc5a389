"""The system on AWS, as stacks of the CDK. Imports nothing of ``app``: what both know by name stands in ``cdk/names.py``."""
