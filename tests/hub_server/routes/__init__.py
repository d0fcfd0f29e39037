"""What the server answers to each request, one module for each part of the Hub's API."""
