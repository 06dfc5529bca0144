"""What goes with other extensions: each module imports the one that it is called after."""
