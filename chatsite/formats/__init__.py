"""How numbers and dates are written, where Django's own idea of a language is not what its readers are used to."""
