"""A client on a Docker host: create, replace, change, repair, adopt, remove."""
