"""What is trained and by which loss: heads, objectives, similarities, and how synthetic rows are stored."""
