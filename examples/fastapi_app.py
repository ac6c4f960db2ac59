"""A scheduler in a FastAPI application, its jobs in MongoDB with a mirror in memory.

Run: MONGODB_URI=mongodb://localhost/?replicaSet=rs uvicorn --app-dir examples fastapi_app:app
Then: curl -X POST 'localhost:8000/reminders/milk?seconds=5'
And:  curl 'localhost:8000/reminders'

A mirrored store is for one scheduler, so uvicorn runs one worker. The store's cycles do no I/O, so
they never make the event loop wait for the database.
"""

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from fastapi import FastAPI, HTTPException

from jobstore import MongoDBJobStore

uri = os.environ.get("MONGODB_URI", "mongodb://localhost")
store = MongoDBJobStore("fastapi_example", host=uri, mirror=True)
scheduler = AsyncIOScheduler(jobstores={"default": store})


@asynccontextmanager
async def lifespan(app):
    scheduler.start()
    yield
    scheduler.shutdown()
    await asyncio.sleep(0)  # the scheduler shuts down in the next turn of the event loop


app = FastAPI(lifespan=lifespan)


async def remind(text):
    print(f"reminder: {text}", flush=True)


@app.post("/reminders/{text}")
def add_reminder(text: str, seconds: float):  # no coroutine: it runs in a thread, and may wait
    time = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return {"id": scheduler.add_job(remind, "date", run_date=time, args=[text]).id}


@app.get("/reminders")
def list_reminders(after: str | None = None):
    """Show ten reminders; `after` of one page begins the next."""
    try:
        page = store.find(after=after, limit=10)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    return {
        "reminders": [{"id": job.id, "text": job.args, "due": job.next_run_time} for job in page],
        "after": page[-1].key if page else None,
    }
