"""Health: findings from a store's status, and looks into its collection and its server."""
