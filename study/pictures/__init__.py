"""Any picture -> the 28x28 image that the networks take; and pictures that are no digit."""
