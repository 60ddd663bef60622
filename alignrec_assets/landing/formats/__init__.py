"""Public data sets as landing files: a converter for each format, and what converters share."""
