"""Tables, figures and the report, rebuilt from the store alone."""
