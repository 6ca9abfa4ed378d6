"""One head brought to another by a rigid motion, found both ways, and whether that can be trusted."""

from ranoscope.preparing.registration.register import Registration, RegistrationSettings, register

__all__ = ["Registration", "RegistrationSettings", "register"]
