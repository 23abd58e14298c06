// This file lets compact.go name a function of kfake that has no body here.
