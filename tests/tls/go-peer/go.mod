module signpost.test/go-peer

go 1.25
