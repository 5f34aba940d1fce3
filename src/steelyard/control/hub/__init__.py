"""The API hub: providers and models, public and embedded, as entries that can be searched, shown and compared. Data, no network."""
