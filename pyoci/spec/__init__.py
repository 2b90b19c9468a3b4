"""Reading and writing of the OCI documents."""
