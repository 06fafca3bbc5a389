"""One folder per function: its handler, what it installs (requirements.txt) and what of ``app`` it takes along (app_files.txt).

They may import ``app``'s pure part and its small adapters, never a process of it; boto3 comes with the runtime.
"""
