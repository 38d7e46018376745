"""Opening of foreign files: pictures, recordings and videos to plain numpy arrays. No mlx."""
