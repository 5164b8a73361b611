"""The recipe `neural`: a two-tower network, trained with DP-SGD and FedAvg."""
