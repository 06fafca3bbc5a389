"""AWS on this machine: moto's server for the services, and before it a CloudFormation of our own, releases' associations, and
Lambdas that run as local processes.

What it has no engine for, and so proves nothing about: alarms' evaluation, schedules, machines that boot, rights, quotas.
"""
