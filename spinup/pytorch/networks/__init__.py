"""Networks that the package builds."""
