"""Quality and speed, each measured by one command. See README.md."""
