"""What synthetic scans add: external AUC against how many are added to real ones, or used alone."""
