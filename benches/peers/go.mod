module hub

go 1.19
