"""OpenAPI 3.1 documents of every API that is served, and collections of requests made from them. Sheets are data; what they leave out is the same everywhere."""
