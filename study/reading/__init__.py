"""Any picture -> the 28x28 image that the networks take; and when to answer that it is no digit."""
