"""hello in Python, for WASI 0.3: one sandbox answers many requests at once."""

import componentize_py_async_support
import wit_world
from componentize_py_async_support.streams import ByteStreamWriter
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.wasi_http_types import Fields, Request, Response


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        text = f"Hello from Python on WASI 0.3! You asked for {request.get_path_with_query()}\n"
        writer, contents = wit_world.byte_stream()
        componentize_py_async_support.spawn(send(writer, text.encode()))
        headers = Fields.from_list([("content-type", b"text/plain; charset=utf-8")])
        return Response.new(headers, contents, no_trailers())[0]


async def send(writer: ByteStreamWriter, contents: bytes) -> None:
    with writer:
        await writer.write_all(contents)


def no_trailers():
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))[1]
