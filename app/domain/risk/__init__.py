"""What may stop, shrink or cap trading as a whole: breakers, throttle, ramp, latency, events, exposure. Pure.

The trader feeds a ``RiskBook`` with facts and gets it back changed, with the events that follow; planning reads a ``RiskView``.
"""
