"""Model structures as documents: a closed grammar of blocks, checked before it is built."""
