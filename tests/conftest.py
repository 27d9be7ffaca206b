"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How fast examples are made says more about the machine than about the test.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
