"""The density as sampling sees it: counted, differentiated where no gradient is given, watched."""
