"""Tries the assumptions about Klaviyo's data sources and their records, with a data source of the rehearsal."""

from deploy.rehearsal import made
from deploy.rehearsal.assumption import Answer, fails, holds, judged
from deploy.rehearsal.stage import Stage
from shared.errors import NotFoundError, RefusedError
from shared.records.rules.record import blamed

_RELATION = "/data/relationships/data-source"
_REFUSED_WITHIN = 60.0


def record_of_deleted_source_is_refused(stage: Stage) -> Answer:
    """Send a record to a data source that has just been deleted."""
    source = stage.data_source()
    stage.klaviyo.delete_data_source(source)

    def refused() -> RefusedError | None:
        try:
            stage.klaviyo.create_data_source_record(source, {"id": stage.run})
        except RefusedError as error:
            return error
        return None

    found = stage.until(refused, within=_REFUSED_WITHIN)
    if found is None:
        return fails("the record is accepted for a minute and more")
    error, waited = found
    stage.saw("status", error.status or 0)
    stage.saw("seconds until it was refused", waited.seconds)
    is_so = isinstance(error, NotFoundError) or (error.status == 400 and error.field.startswith(_RELATION))
    return judged(is_so, "the refusal is neither 404 nor a 400 that names the relationship")


def taken_title_is_refused(stage: Stage) -> Answer:
    """Make a second data source with the title of the first."""
    title = stage.note(made.DATA_SOURCE, stage.name("records"))
    stage.klaviyo.create_data_source(title, "Made by a rehearsal, and removed by it.")
    try:
        stage.klaviyo.create_data_source(title, "Made by a rehearsal, and removed by it.")
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return judged(error.status in (400, 409), "the refusal is neither 400 nor 409")
    return fails("a second data source with the title is made")


def refusal_names_the_record(stage: Stage) -> Answer:
    """Send two records in one job, of which the second is no object."""
    source = stage.data_source()
    try:
        stage.klaviyo.send_records(source, [{"id": stage.run}, "no object"])
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        stage.saw("places named", len(error.fields))
        if blamed(error.fields, 2) == [1]:
            return holds("whether the good record of the job was kept cannot be read back")
        return fails("the refusal does not name the record by its index")
    return fails("the job is accepted")
