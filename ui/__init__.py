"""What people touch: the `toyfed` command line and the web pages."""
