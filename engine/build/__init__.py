"""From a config to data, network, optimizer and loaders."""
