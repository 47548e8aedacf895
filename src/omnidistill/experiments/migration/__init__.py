"""Migration of a search index to a new encoder: a kit of two small files maps old embeddings to new ones."""

from omnidistill.experiments.migration.apply_map import AppliedFile
from omnidistill.experiments.migration.kit import Kit
from omnidistill.experiments.migration.migrate import migrate
from omnidistill.experiments.migration.migration_result import Migration
from omnidistill.experiments.migration.migration_settings import MigrationSettings

__all__ = ["AppliedFile", "Kit", "Migration", "MigrationSettings", "migrate"]
