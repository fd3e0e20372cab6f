"""How much rounding may do: the allowance, and the float64 twin that it is measured with."""
