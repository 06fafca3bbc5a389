"""Notices and alarms from SNS to a Telegram chat."""
