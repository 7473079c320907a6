"""What the notebooks import besides the networks: data, training, searching, figures."""
