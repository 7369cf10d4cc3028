//! Frames of HTTP/2 (RFC 9113 4.1), written by hand, as no library would send them.

/// The preface, and SETTINGS without settings.
pub(crate) const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A PING.
pub(crate) const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// A SETTINGS that sets the window of all streams.
pub(crate) fn window(bytes: u32) -> Vec<u8> {
    [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4][..], &bytes.to_be_bytes()].concat()
}

/// The head of a request for a short path, without a table: a GET without a body, or a POST whose body follows.
pub(crate) fn request(stream: u32, path: &str, has_body: bool) -> Vec<u8> {
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let method = if has_body { 0x83 } else { 0x82 };
    // `:path` and `:authority` of the static table, with literals that are not kept; then `:scheme: http`.
    let path = [&[0x04, path.len() as u8], path.as_bytes()].concat();
    let block = [&[method], &path[..], b"\x01\x08stranger\x86"].concat();
    let flags = if has_body { END_HEADERS } else { END_HEADERS | END_STREAM };
    let head = [&[0, 0, block.len() as u8, 1, flags], &stream.to_be_bytes()[..]].concat();
    [head, block].concat()
}

/// The window of a connection and of a stream before any SETTINGS (RFC 9113 6.9.2).
pub(crate) const INITIAL_WINDOW: u32 = 65_535;

/// How many bytes a frame of a body has here: the most that it may have before any SETTINGS.
pub(crate) const DATA_BYTES: u32 = 16_384;

/// A part of a body.
pub(crate) fn data(stream: u32) -> Vec<u8> {
    let head = [&[0, 0x40, 0, 0, 0], &stream.to_be_bytes()[..]].concat();
    [head, vec![0; DATA_BYTES as usize]].concat()
}

/// How much more a frame with this head allows on the whole connection, if it is a WINDOW_UPDATE.
pub(crate) fn more_window(head: &[u8; 9], payload: &[u8]) -> u32 {
    match (head, payload) {
        ([_, _, _, 8, _, 0, 0, 0, 0], &[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}
