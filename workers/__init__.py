"""The science: recipes, models, losses, data and judges. Runs without Ray and without MLflow."""
