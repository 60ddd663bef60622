"""All settings of the project: sections with defaults, named profiles, and where each value comes from."""
