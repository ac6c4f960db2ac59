undefined: object
