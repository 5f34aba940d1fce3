"""Objects: their bytes (`blobs`) and what is known of them (`records`)."""
