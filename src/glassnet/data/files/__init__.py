"""Files of a data source, wherever they are: folders, tables, archives and data sets, with classes and splits."""
