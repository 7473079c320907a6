"""Any picture -> the 28x28 image that the networks take; and what to do if it is not a digit."""
