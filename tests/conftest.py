"""For every test: Hypothesis without deadlines, since no test may depend on how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("opportune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("opportune")
