"""The outbound side: the pooled HTTP/1.1 client and what each kind of provider adds to a call."""
