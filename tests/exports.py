"""What tests of exports share: a run's log as the export reads it, and what a record says of the forms."""

from funneltune.decisions.export.exporting import loaded


def differences(record):
    return {k.partition("/")[0]: v["value"] for k, v in record.numbers.items() if k.endswith("largest_difference")}


def loaded_data(run):
    assembly = loaded(run)
    assembly.data.prepare_data()
    assembly.data.setup()
    return assembly
