"""Wire bytes to canon and back, both roles, without I/O. One file per wire operation; its constant is `DIALECT`."""
