"""A package, because one of the peers that tests compare with installs another one of this name."""
