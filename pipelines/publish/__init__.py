"""From a build to a dataset on the Hub: a folder that can be published, then commits of it."""
