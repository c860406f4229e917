module quern

go 1.18
