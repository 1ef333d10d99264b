"""LMDeploy's own API server on loopback: its routes, parsers and errors, over a model on the CPU."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.engine.lmdeploy_model import load_model


class LMDeployServer:
    """What `lmdeploy serve api_server FOLDER --model-name NAME` is, at `address`. Use as a context manager.

    key: as --api-keys. engine: LMDeploy's, while it runs.
    """

    def __init__(self, folder: str, name: str, key: str = "") -> None:
        self._folder, self._name, self._key = folder, name, key
        self._context: Any = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.engine: Any = None
        self._server: Any = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="test-server", daemon=True)

    def __enter__(self) -> LMDeployServer:
        self._thread.start()
        assert self._up.wait(120)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def set_parsers(self, reasoning: str | None, tools: str | None) -> None:
        """As if it had been started with --reasoning-parser and --tool-call-parser."""
        from lmdeploy.serve.openai import api_server

        api_server.set_parsers(self._context, reasoning, tools)
        if tools is None:  # it leaves those of before, as a server never changes them
            self._context.response_parser_cls.tool_parser_cls = None

    def stop(self) -> None:
        """End it as a crash would: what streams is cut. The parsers are those of LMDeploy's class, so they go too."""
        self.set_parsers(None, None)
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        import uvicorn
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from lmdeploy.serve.openai import api_server
        from lmdeploy.serve.utils.server_utils import AuthenticationMiddleware

        model = await asyncio.to_thread(
            load_model, self._folder, EngineConfig(backend=Backend.CPU), lambda *progress: None
        )
        self.engine = engine = model.engine
        own = engine.chat_template._template  # without our way of going on with a reply
        engine.chat_template = engine.prompt_processor.chat_template = own
        engine.model_name = self._name
        engine.start_loop(asyncio.get_running_loop(), use_async_api=True)
        context = self._context = api_server.ServerContext()
        context.async_engine = engine
        self.set_parsers(None, None)
        app = FastAPI()
        app.include_router(api_server.create_openai_router(context))
        app.add_exception_handler(RequestValidationError, api_server.validation_exception_handler)
        if self._key:
            app.add_middleware(AuthenticationMiddleware, tokens=[self._key])
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self._server.install_signal_handlers = lambda: None
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            await asyncio.sleep(0.01)
        self._up.set()
        await serving
        await engine.stop_all_session()
        await asyncio.to_thread(engine.close)
