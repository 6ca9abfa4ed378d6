"""The network fused with measured-change models and response criteria, weighed inside each fold's training patients."""
